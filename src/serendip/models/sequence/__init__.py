"""SASRec and GRU4Rec."""
