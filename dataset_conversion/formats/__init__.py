"""Files and folders as data sets publish them: images, volumes, DICOM, contours, run lengths, folder layouts."""
