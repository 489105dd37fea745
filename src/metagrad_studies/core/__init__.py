"""What every study needs: the contract, the directory on disk, the runner, records, plots and verdicts."""
