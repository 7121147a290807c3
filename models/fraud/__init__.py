"""Card fraud: features, terminal profiles, the network, its training and its evaluation."""
