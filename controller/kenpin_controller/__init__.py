"""Where the fleet is run from: ingest, store, operations, REST, pages and the `kenpin` command."""
