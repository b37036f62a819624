"""From a bound and a label to what is certified: margins, certificates, radii, stages, accuracy, attacks."""
