"""Sequential recommenders: SASRec and GRU4Rec."""
