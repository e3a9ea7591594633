"""The edge client of reidstream: numpy in, numpy out."""
