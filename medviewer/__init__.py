"""MedViewer: a DICOM viewer with local, explainable models. Research use only."""

__version__ = "0.1.0"
