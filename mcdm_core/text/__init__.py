"""From words to token numbers: cleaning, byte pairs, vocabularies."""
