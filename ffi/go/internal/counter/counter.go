// Package counter reads the processor's time stamp counter, where the system itself tells the time by it.
package counter
