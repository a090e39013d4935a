"""Systems of forensic statistics with known truth: what an audit is tried on before it is trusted with another's.

Genotyping of mixed stains, the number of contributors, glass, calibration, toolmarks; and defects planted in them.
"""
