"""The exercises of the notebooks, one file per notebook: contract, cases, hints, reference, classic wrong answers."""
