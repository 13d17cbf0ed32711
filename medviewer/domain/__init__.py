"""What MedViewer talks about. numpy only: no files, no network, no window, no models."""
