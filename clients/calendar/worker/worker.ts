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

/** What the gateway says now, which is kept; what it said last, where it can't be reached. */
async function answer({ request }: FetchEvent, path: string): Promise<Response> {
  const kept = await caches.open(KEPT);
  try {
    const fresh = await fetch(request, { signal: AbortSignal.timeout(PATIENCE_MS) });
    if (fresh.ok) await kept.put(path, fresh.clone());
    if (fresh.status === 404) await self.registration.unregister(); // there is no calendar here any more
    return fresh;
  } catch {
    return (await kept.match(path)) ?? Response.error();
  }
}

export {};
