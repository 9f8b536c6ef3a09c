"""Stops a run before anything is trained on data that is missing, too little or odd."""
