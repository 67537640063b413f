"""Evidence in, tables out: no network is loaded here."""
