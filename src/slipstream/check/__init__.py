"""What a machine, a library and a plugin are found to be, for whoever asks."""
