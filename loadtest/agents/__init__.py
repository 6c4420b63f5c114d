"""Users on other machines: `loadtest agent` waits there, `loadtest run --agents` uses it."""
