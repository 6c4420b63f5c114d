/** The service worker: the calendar opens without a connection too, as the gateway sent it last. */

declare const self: ServiceWorkerGlobalScope;

const KEPT = "calendar";
const PAGE = ["/", "/assets/app.css", "/assets/app.js", "/assets/icon.svg", "/assets/app.webmanifest"];
// A network that neither answers nor refuses is taken for none.
const PATIENCE_MS = 5_000;

self.addEventListener("install", (event) => event.waitUntil(keepAll()));
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  const { origin, pathname } = new URL(event.request.url);
  if (event.request.method === "GET" && origin === self.origin && PAGE.includes(pathname)) {
    event.respondWith(answer(event, pathname));
  }
});

async function keepAll(): Promise<void> {
  const kept = await caches.open(KEPT);
  await kept.addAll(PAGE);
  await self.skipWaiting();
}

/** What the gateway says now, which is kept; what it said last, where it can't be reached, or a proxy says so. */
async function answer(event: FetchEvent, path: string): Promise<Response> {
  try {
    const fresh = await fetched(event.request);
    if (fresh.ok) event.waitUntil(keep(path, fresh.clone()));
    if (fresh.status === 404) await self.registration.unregister(); // there is no calendar here any more
    return fresh.status < 500 ? fresh : ((await caches.match(path)) ?? fresh);
  } catch {
    return (await caches.match(path)) ?? Response.error();
  }
}

/** However slowly the rest comes, once it has begun. */
async function fetched(request: Request): Promise<Response> {
  const waiting = new AbortController();
  const timer = setTimeout(() => waiting.abort(), PATIENCE_MS);
  try {
    return await fetch(request, { signal: waiting.signal });
  } finally {
    clearTimeout(timer);
  }
}

/** Where there is no room for it, what was kept before stays. */
async function keep(path: string, fresh: Response): Promise<void> {
  const kept = await caches.open(KEPT);
  await kept.put(path, fresh).catch(() => {});
}

export {};
