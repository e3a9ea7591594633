"""How speed and accuracy are measured; run by hand."""
