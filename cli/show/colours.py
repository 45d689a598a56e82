"""The colours of pictures: greys, and those that people who are colour-blind can tell apart.

They are from M. Okabe and K. Ito, "Color universal design", 2008.
"""

SKY = "#56B4E9"
ORANGE = "#E69F00"
GREEN = "#009E73"
BLUE = "#0072B2"
VERMILION = "#D55E00"
PURPLE = "#CC79A7"
YELLOW = "#F0E442"
INK = "#222222"
GREY = "#777777"
PALE = "#E5E5E5"
