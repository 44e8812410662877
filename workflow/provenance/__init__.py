"""Where results come from: sources of a step, version of the code, footers, provenance.json."""
