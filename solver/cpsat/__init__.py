"""CP-SAT over given candidates: the best choice of one mapping for each layer, with a proven bound."""
