"""How fast the engine trains losses on this machine: `lossmith bench engine`."""
