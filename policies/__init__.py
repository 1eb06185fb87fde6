"""What Ruh Chat decides, as pure functions: values in, values out.

Standard library only, no clock, no input or output, no state of its own. Whoever needs the time,
a random number or a row hands it in.
"""
