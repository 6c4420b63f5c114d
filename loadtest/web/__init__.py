"""A run to watch and to steer in a browser: `loadtest run ... --web 8089`."""
