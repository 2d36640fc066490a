mkdir --mode=755 reports
