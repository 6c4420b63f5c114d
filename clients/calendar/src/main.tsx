import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app.js";

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <App />
  </StrictMode>,
);

// The page itself opens without a connection, too. Where a browser keeps nothing, it needs one.
navigator.serviceWorker?.register("/worker.js").catch(() => {});
