"""Tags of pairs: scores of pictures and texts as columns, whose thresholds come later."""
