/** RFC-002's components for presence (2.4), as they stand and as this package has them, with real people. */

import type { Presence } from "@collab/client";
import * as own from "@collab/react";
import type React from "react";
import { renderToStaticMarkup } from "react-dom/server";
import { expect, test } from "vitest";
import { People } from "../../client/test/support/people.js";
import { until } from "../../client/test/support/until.js";

const { TypingIndicator } = own;
const people = new People();
const PICTURE = "https://pictures.example.org/ben.png";

// React Component for Presence
const PresenceIndicators: React.FC<{ presences: readonly Presence[] }> = ({ presences }) => {
  return (
    <div className="presence-indicators">
      {presences.map((p) => (
        <div key={p.client_id} className="presence-avatar">
          <img src={p.user.avatar_url} alt={p.user.name} />
          <div className="presence-dot" style={{ backgroundColor: p.user.color }} />
          {p.is_typing && <TypingIndicator />}
        </div>
      ))}
    </div>
  );
};

// Cursor overlay for field being edited
const CursorOverlay: React.FC<{ presence: Presence }> = ({ presence }) => {
  if (!presence.cursor.field) return null;

  return (
    <div
      className="cursor-overlay"
      style={{
        borderColor: presence.user.color,
        position: "absolute",
        // Position based on field
      }}
    >
      <span className="cursor-label">{presence.user.name}</span>
    </div>
  );
};

const shown = (others: readonly Presence[]) =>
  renderToStaticMarkup(
    <>
      <PresenceIndicators presences={others} />
      {others.map((one) => (
        <CursorOverlay key={one.client_id} presence={one} />
      ))}
    </>,
  );

test("2.4: who is here, who types and where, as it changes", async () => {
  const { document: ann } = await people.event("ann", { description: "Bring cake." });
  expect(shown(ann.presence.snapshot.others)).toBe('<div class="presence-indicators"></div>');

  const { document: ben } = await people.join("ben", ann.id, {}, { avatarUrl: PICTURE });
  const come = await until(ann.presence, (now) => now.others.length === 1);
  const color = come.others[0]?.user.color;
  const avatar = `<div class="presence-avatar"><img src="${PICTURE}" alt="ben"/><div class="presence-dot" style="background-color:${color}"></div></div>`;
  expect(shown(come.others)).toContain(`<div class="presence-indicators">${avatar}</div>`);

  ben.presence.setCursor({ field: "description", position: 5 });
  ben.setText("/description", "Bring a cake.");
  const typing = await until(ann.presence, ({ others: [one] }) => !!one?.is_typing && !!one.cursor.field);
  const markup = shown(typing.others);
  expect(markup).toContain('aria-label="typing"');
  expect(markup).toContain(
    `<div class="cursor-overlay" style="border-color:${color};position:absolute"><span class="cursor-label">ben</span></div>`,
  );
  const ours = renderToStaticMarkup(<own.PresenceIndicators presences={typing.others} />);
  expect(ours).toMatch(/<ul [^>]*aria-label="People here"><li.*ben.*typing.*<\/ul>/);

  ben.close();
  await until(ann.presence, (now) => !now.others.length);
});
