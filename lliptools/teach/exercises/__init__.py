"""The exercises of the notebooks, one file a notebook: contract, cases, hints, reference and classic wrong answers."""
