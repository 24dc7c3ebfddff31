//go:build hostwheel_canary

package hostwheel

import "os"

var planted = os.Getenv("HOSTWHEEL_CANARY")

var (
	// canaryTagOnly: the index takes a host for the one it looks for if the tags are the same.
	canaryTagOnly = planted == "TagOnly"
	// canaryNarrowLength: a snapshot has one byte of an id's length.
	canaryNarrowLength = planted == "NarrowLength"
	// canaryEarly: a host leaves a millisecond early.
	canaryEarly = planted == "Early"
	// canaryOldNews: news from before the last announce may change the interval.
	canaryOldNews = planted == "OldNews"
)
