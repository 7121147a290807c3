"""The `tocsin` command. Each module is one command or group; `main` lists them."""
