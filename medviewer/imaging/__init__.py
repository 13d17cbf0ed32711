"""Files in, domain out: reading, decoding, geometry and display of DICOM images, and writing results back."""
