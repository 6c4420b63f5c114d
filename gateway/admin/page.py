"""The page that greets a person who opens the admin port in a browser."""

from __future__ import annotations

from html import escape
from string import Template

POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"

_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Gateway $name</title>
<meta name="viewport" content="width=device-width">
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }
code, pre { font: 14px/1.5 ui-monospace, monospace; background: #8882; padding: .1rem .3rem }
pre { padding: .8rem; overflow-x: auto } td { padding: .2rem 1rem .2rem 0; vertical-align: top }
@media (prefers-color-scheme: dark) { body { background: #111; color: #ddd } a { color: #8bf } }
</style></head><body>
<h1>Gateway <code>$name</code></h1>
<p>This node is <b>$state</b>. Clients connect to <code>$websocket_url</code>.</p>
<p><a href="console">The console</a> shows what goes on, to who has a token that grants
<code>node:admin</code>: <code>gateway console</code> opens it.</p>
<table>
<tr><td><a href="healthz">/healthz</a></td><td>the process runs</td></tr>
<tr><td><a href="readyz">/readyz</a></td>
<td>new clients are welcome; 503: they aren't, and <code>status</code> says why</td></tr>
<tr><td><a href="metrics">/metrics</a></td><td>for Prometheus</td></tr>
<tr><td><a href="openapi.json">/openapi.json</a></td><td>the description of everything here</td></tr>
<tr><td><code>/v1/resources/TYPE/ID</code></td>
<td>GET (<code>?version=N</code> travels in time), PUT,
DELETE (<code>?purge=true</code> erases history)</td></tr>
<tr><td><code>/v1/resources/TYPE/ID/history</code></td><td>who changed what when</td></tr>
</table>
<p>Resources need a token with a grant:</p>
<pre>TOKEN=$$(gateway token --user ann --grant 'event:*=editor')
curl -H "Authorization: Bearer $$TOKEN" -X PUT -d '{"title": "Launch"}' \\
     $$URL/v1/resources/event/42
curl -H "Authorization: Bearer $$TOKEN" $$URL/v1/resources/event/42/history</pre>
</body></html>
""")


def html(name: str, state: str, websocket_url: str) -> str:
    """The page for this node."""
    return _PAGE.substitute(name=escape(name), state=escape(state), websocket_url=escape(websocket_url))
