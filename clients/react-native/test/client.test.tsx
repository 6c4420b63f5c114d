import type { Client, SharedDocument } from "@collab/client";
import { act, configure, fireEvent, render, screen, waitFor } from "@testing-library/react-native";
import { AppState, Text, TextInput } from "react-native";
import { FakePlatform } from "../../client/test/support/fake.js";
import {
  type AsyncStorageLike,
  createNativeClient,
  GatewayProvider,
  type NativeClientOptions,
  type NetInfoLike,
  useRealtimeEvent,
  useSyncStatus,
  useTextField,
} from "../src/index.js";

interface Event {
  title: string;
}

const MINUTE_MS = 60_000;

jest.setTimeout(2 * MINUTE_MS); // the first to render loads React Native
configure({ asyncUtilTimeout: MINUTE_MS });
const seen = { version: 3, epoch: 1 };

/** The app's state, as the system would change it. */
class System {
  readonly listeners = new Set<(state: string) => void>();

  constructor() {
    AppState.currentState = "active";
    jest.spyOn(AppState, "addEventListener").mockImplementation((_, listener) => {
      this.listeners.add(listener as (state: string) => void);
      return { remove: () => this.listeners.delete(listener as (state: string) => void) } as never;
    });
  }

  goes(state: "active" | "inactive" | "background"): void {
    AppState.currentState = state;
    for (const listener of this.listeners) listener(state);
  }
}

class Network implements NetInfoLike {
  readonly listeners = new Set<(state: { isConnected: boolean | null }) => void>();

  addEventListener(listener: (state: { isConnected: boolean | null }) => void): () => void {
    this.listeners.add(listener);
    listener({ isConnected: null });
    return () => this.listeners.delete(listener);
  }

  is(isConnected: boolean): void {
    for (const listener of this.listeners) listener({ isConnected });
  }
}

const settled = (ms = 0) => act(() => jest.advanceTimersByTimeAsync(ms));

describe("a client of an app", () => {
  let platform: FakePlatform;
  let system: System;
  let network: Network;

  beforeEach(() => {
    jest.useFakeTimers();
    platform = new FakePlatform();
    system = new System();
    network = new Network();
  });

  afterEach(() => {
    jest.restoreAllMocks();
    jest.useRealTimers();
  });

  function opened(options: Partial<NativeClientOptions> = {}) {
    const { webSocket, fetch } = platform.environment();
    const client = createNativeClient({
      url: "wss://gateway.test/realtime",
      getToken: () => "token",
      netInfo: network,
      ...options,
      environment: { webSocket: webSocket!, fetch: fetch!, random: () => 0 },
    });
    return { client, event: client.open<Event>("event", "1") };
  }

  async function online(role = "editor", state: Event | null = { title: "Tea" }) {
    const made = opened();
    await settled();
    platform.socket.admit();
    await settled();
    platform.socket.tell("SUBSCRIBE_ACK", {
      resource_type: "event",
      resource_id: "1",
      ...seen,
      role,
      state,
    });
    await settled();
    return made;
  }

  it("closes its socket in the background and polls each five minutes, and is back at once", async () => {
    const { client } = await online();
    const { socket } = platform;
    platform.answer = () => ({ status: 304 });
    system.goes("background");
    await settled(1000);
    expect(client.connection.snapshot.state).toBe("polling");
    expect(socket.isClosedByClient).toBe(true);
    platform.requests.length = 0;
    await settled(15 * MINUTE_MS);
    expect(platform.requests).toHaveLength(3);
    system.goes("active");
    await settled();
    expect(platform.socket).not.toBe(socket);
    platform.socket.admit();
    await settled();
    expect(client.connection.snapshot.state).toBe("online");
    await client.close();
  });

  it("keeps its socket while a call comes in", async () => {
    const { client } = await online();
    system.goes("inactive");
    await settled(1000);
    platform.socket.tell("PONG"); // it had to show that it lives
    await settled(MINUTE_MS / 4);
    expect(client.connection.snapshot.state).toBe("online");
    await client.close();
  });

  it("knows that the network is gone, and comes back at once when it is there again", async () => {
    const { client } = await online();
    network.is(false);
    const tries = platform.sockets.length;
    expect(client.connection.snapshot).toMatchObject({ state: "reconnecting", reason: "offline" });
    network.is(true);
    await settled();
    expect(platform.sockets).toHaveLength(tries + 1);
    await client.close();
  });

  it("lets go of the system when it is closed", async () => {
    const { client } = await online();
    await client.close();
    expect(system.listeners.size).toBe(0);
    expect(network.listeners.size).toBe(0);
  });

  it("shows a document on a screen, and what is typed there is sent", async () => {
    const { client } = await online();
    const field = await titleField(client);
    expect(field.props.value).toBe("Tea");
    expect(screen.getByText("saved")).toBeTruthy();
    fireEvent.changeText(field, "Teas");
    expect(field.props.value).toBe("Teas");
    expect(screen.getByText("saving")).toBeTruthy();
    await settled(1000);
    expect(platform.socket.last("OP")?.payload).toMatchObject({
      operations: [{ op: "text", path: "/title", value: [3, "s"] }],
      version: 3,
    });
    await act(() => client.close());
  });

  it("puts a key that was pressed before the others' text was shown where it belongs", async () => {
    const { client } = await online();
    const field = await titleField(client);
    fireEvent(field, "selectionChange", { nativeEvent: { selection: { start: 3, end: 3 } } });
    act(() => {
      platform.socket.tell("OP_BROADCAST", byAnother(4, ["Green "]));
      fireEvent.changeText(field, "Teas");
    });
    expect(field.props.value).toBe("Green Teas");
    expect(field.props.selection).toEqual({ start: 10, end: 10 });
    await settled(1000);
    expect(platform.socket.last("OP")?.payload.operations).toEqual([
      { op: "text", path: "/title", value: [9, "s"] },
    ]);
    await act(() => client.close());
  });

  it("puts keys that were pressed while the others' text was being shown where they belong", async () => {
    const { client } = await online();
    const field = await titleField(client);
    act(() => platform.socket.tell("OP_BROADCAST", byAnother(4, ["Green "])));
    expect(field.props.value).toBe("Green Tea");
    fireEvent.changeText(field, "Teas");
    expect(field.props.value).toBe("Green Teas");
    fireEvent.changeText(field, "Teas!");
    expect(field.props.value).toBe("Green Teas!");
    fireEvent.changeText(field, "A Teas!");
    expect(field.props.value).toBe("A Green Teas!");
    await act(() => client.close());
  });

  it("deletes what another typed: a letter at once, and more when it was shown", async () => {
    const { client } = await online();
    const field = await titleField(client);
    for (const [index, letter] of [..." time"].entries())
      act(() => platform.socket.tell("OP_BROADCAST", byAnother(4 + index, [3 + index, letter])));
    expect(field.props.value).toBe("Tea time");
    fireEvent.changeText(field, "Tea tim");
    expect(field.props.value).toBe("Tea tim");
    await settled(1000);
    fireEvent.changeText(field, "Tea");
    expect(field.props.value).toBe("Tea");
    await act(() => client.close());
  });

  it.each([
    ["a viewer's", "viewer", { title: "Tea" }, "Tea"],
    ["a deleted document's", "editor", null, ""],
  ])("takes no text where it is %s", async (_, role, state, text) => {
    const { client } = await online(role, state);
    const field = await titleField(client);
    expect(field.props.editable).toBe(false);
    act(() => field.props.onChangeText("Teas"));
    expect(field.props.value).toBe(text);
    await act(() => client.close());
  });

  it("takes no text while it loads", async () => {
    const { client } = opened();
    const field = await titleField(client);
    expect(field.props.editable).toBe(false);
    act(() => field.props.onChangeText("Teas"));
    expect(field.props.value).toBe("");
    await act(() => client.close());
  });

  it("keeps what is edited apart by gateway and by user", async () => {
    const kept = new Map<string, string>();
    const asyncStorage: AsyncStorageLike = {
      getItem: async (key) => kept.get(key) ?? null,
      setItem: async (key, value) => kept.set(key, value),
      removeItem: async (key) => kept.delete(key),
      getAllKeys: async () => [...kept.keys()],
    };
    const { client, event } = opened({ asyncStorage, userId: "ann", connect: false });
    event.create({ title: "Tea" });
    await act(() => event.stored());
    expect([...kept.keys()]).toContain("collab/wss://gateway.test/realtime/ann/doc/event:1");
    await client.close();
  });

  it("leaves the caret where it was when somebody else types", async () => {
    const { client } = await online();
    const field = await titleField(client);
    fireEvent(field, "selectionChange", { nativeEvent: { selection: { start: 1, end: 2 } } });
    expect(field.props.selection).toBeUndefined();
    act(() => platform.socket.tell("OP_BROADCAST", byAnother(4, ["Green "])));
    expect(field.props.value).toBe("Green Tea");
    expect(field.props.selection).toEqual({ start: 7, end: 8 });
    fireEvent(field, "selectionChange", { nativeEvent: { selection: { start: 7, end: 8 } } });
    expect(field.props.selection).toBeUndefined();
    fireEvent(field, "blur");
    act(() => platform.socket.tell("OP_BROADCAST", byAnother(5, ["Hot "])));
    expect(field.props.value).toBe("Hot Green Tea");
    expect(field.props.selection).toBeUndefined();
    await act(() => client.close());
  });

  it.each([null, "/location"])(
    "tells the others that a field is left that goes, or shows %s now",
    async (path) => {
      const { client } = await online();
      const field = await titleField(client);
      const told = () => platform.socket.last("PRESENCE_UPDATE")?.payload.cursor;
      fireEvent(field, "selectionChange", { nativeEvent: { selection: { start: 1, end: 2 } } });
      await waitFor(() => expect(told()).toMatchObject({ field: "title", position: 2 }));
      screen.rerender(
        <GatewayProvider client={client}>
          <Screen path={path} />
        </GatewayProvider>,
      );
      await waitFor(() => expect(told()).toEqual({ field: "" }));
      const write = (version: number, operation: object) =>
        act(() =>
          platform.socket.tell("OP_BROADCAST", { ...byAnother(version, []), operations: [operation] }),
        );
      write(4, { op: "add", path: "/location", value: "Room 1" });
      write(5, { op: "text", path: "/location", value: ["Big "] });
      expect(screen.queryByLabelText("Title")?.props.value).toBe(path ? "Big Room 1" : undefined);
      expect(screen.queryByLabelText("Title")?.props.selection).toBeUndefined();
      await act(() => client.close());
    },
  );

  it("tells the others where a field is whose text has another path by now", async () => {
    const { client } = await online();
    const write = (version: number, operation: object) =>
      act(() => platform.socket.tell("OP_BROADCAST", { ...byAnother(version, []), operations: [operation] }));
    render(
      <GatewayProvider client={client}>
        <Tea />
      </GatewayProvider>,
    );
    await screen.findByLabelText("Title");
    write(4, { op: "add", path: "/items", value: ["Tea", "Milk"] });
    fireEvent(screen.getByLabelText("Title"), "selectionChange", {
      nativeEvent: { selection: { start: 1, end: 1 } },
    });
    write(5, { op: "add", path: "/items/0", value: "Bread" });
    const told = () => platform.socket.last("PRESENCE_UPDATE")?.payload.cursor;
    await waitFor(() => expect(told()).toMatchObject({ field: "items/1" }));
    expect(screen.getByLabelText("Title").props.value).toBe("Tea");
    await act(() => client.close());
  });
});

const byAnother = (version: number, value: unknown[]) => ({
  resource_type: "event",
  resource_id: "1",
  operations: [{ op: "text", path: "/title", value }],
  version,
  client_id: "other",
  user_id: "bob",
});

/** The field of the title, on a screen of this client. */
async function titleField(client: Client) {
  render(
    <GatewayProvider client={client}>
      <Screen />
    </GatewayProvider>,
  );
  return await screen.findByLabelText("Title");
}

function Screen({ path = "/title" }: { path?: string | null }) {
  const { document } = useRealtimeEvent<Event>("1");
  const { state } = useSyncStatus();
  return (
    <>
      <Text>{state}</Text>
      {path && <Field document={document} path={path} />}
    </>
  );
}

/** The item that is tea, wherever it stands. */
function Tea() {
  const { document, view } = useRealtimeEvent<Event & { items?: string[] }>("1");
  const at = view?.items?.findIndex((item) => item.endsWith("Tea")) ?? 0;
  return <Field document={document as SharedDocument<Event> | null} path={`/items/${at}`} />;
}

function Field({ document, path }: { document: SharedDocument<Event> | null; path: string }) {
  return <TextInput accessibilityLabel="Title" {...useTextField(document, path)} />;
}
