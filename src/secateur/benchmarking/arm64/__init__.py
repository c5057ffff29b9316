"""An ARM processor emulated by qemu, in which LiteRT's aarch64 wheel runs. No root, no device."""
