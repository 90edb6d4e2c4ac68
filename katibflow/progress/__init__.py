"""Shows a person a running experiment; the engine reports here and reads nothing from here."""
