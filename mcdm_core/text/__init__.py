"""Tokenization: cleaning, byte pairs, vocabularies."""
