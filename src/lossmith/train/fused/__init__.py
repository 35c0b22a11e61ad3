"""K candidates trained as one network: own weights, statistics, dropout, optimizer state and loss for each."""
