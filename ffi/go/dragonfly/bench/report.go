//go:build linux

package main

import "fmt"

// number has three digits, or all before the point.
func number(value float64) string {
	switch {
	case value < 10:
		return fmt.Sprintf("%.2f", value)
	case value < 100:
		return fmt.Sprintf("%.1f", value)
	default:
		return fmt.Sprintf("%.0f", value)
	}
}

// spread is the median of a figure and its range; empty if it was not measured.
func (r *results) spread(f figure, column string) string {
	values := r.sorted(f, column)
	if len(values) == 0 {
		return ""
	}
	return fmt.Sprintf("%s (%s .. %s)", number(r.median(f, column)), number(values[0]), number(values[len(values)-1]))
}

func (r *results) title(format string, args ...any) {
	fmt.Println()
	r.line(fmt.Sprintf(format, args...), func(column string) string { return column })
}

func (r *results) line(what string, cell func(column string) string) {
	fmt.Printf("%-70s", what)
	for _, column := range r.columns {
		fmt.Printf(" %22s", cell(column))
	}
	fmt.Println()
}

// figures are a figure a line.
func (r *results) figures(what string, f figure) {
	r.line("  "+what, func(column string) string { return r.spread(f, column) })
}

// watched is a line that Dragonfly alone has nothing in.
func (r *results) watched(what string, cell func(column string) string) {
	r.line("  "+what, func(column string) string {
		if column == alone {
			return ""
		}
		return cell(column)
	})
}

// unwatched is a line that only Dragonfly alone has something in.
func (r *results) unwatched(what string, cell func(column string) string) {
	r.line("  "+what, func(column string) string {
		if column != alone {
			return ""
		}
		return cell(column)
	})
}

func report(r *results, hosts int) {
	r.reportInterval(hosts)
	r.reportSteps(hosts)
	r.reportWaits(hosts)
	r.reportHandler(hosts)
}

// reportInterval says what one announce interval costs.
func (r *results) reportInterval(hosts int) {
	const passesPerHour = 12
	scan := r.median(sweepTime, alone)
	// Between two handlers it takes longer than by itself: nothing of it is in the cache, and nothing overlaps.
	longer := passTime
	if canSilence() {
		longer = silentTime
	}
	past := func(column string) float64 {
		return (r.median(longer, column) - r.median(longer, alone)) * float64(hosts) / 1e6
	}
	r.title("%d hosts, %v of their life: processor time in ms", hosts, interval)
	r.unwatched("Dragonfly's scan, once", func(column string) string { return r.spread(sweepTime, column) })
	r.figures(fmt.Sprintf("(a) the wheel's visits, on a manual clock in steps of %v", step), visitTime)
	r.figures("    of these the steps alone, of a wheel without hosts", stepsAlone)
	r.figures("    visits per host", visits)
	r.watched("(b) what the handlers of its announces take longer", func(column string) string { return number(past(column)) })
	r.watched("(c) the back-stop's pass, once an hour", func(column string) string { return r.spread(sweepTime, column) })
	r.watched("scan / (a)", func(column string) string { return number(scan / r.median(visitTime, column)) })
	// If handlers are faster with a wheel, that is not set against its work.
	r.watched("scan / (a + b + c/12), b at least 0", func(column string) string {
		return number(scan / (r.median(visitTime, column) + max(past(column), 0) + r.median(sweepTime, column)/passesPerHour))
	})
}

// reportSteps says how long the wheel works at a time.
func (r *results) reportSteps(hosts int) {
	most := func(f figure) func(string) string {
		return func(column string) string { return number(r.most(f, column)) }
	}
	count := func(f figure) func(string) string {
		return func(column string) string { return fmt.Sprintf("%.0f", r.most(f, column)) }
	}
	r.title("%d hosts: longest work at a time, processor time in ms", hosts)
	r.watched("Advance, hosts announce evenly", most(longestSpread))
	r.watched("  visits in it", count(visitsSpread))
	r.watched(fmt.Sprintf("  of it what is a step of a running wheel, %d visits", visitsPerStep), most(stepSpread))
	r.watched("Advance, all hosts announce at once", most(longestTogether))
	r.watched("  visits in it", count(visitsTogether))
	r.watched("  of it a step", most(stepTogether))
}

// reportWaits says what a call waits for.
func (r *results) reportWaits(hosts int) {
	r.title("%d hosts: a call by the wall clock in µs, p99.9 / most", hosts)
	line := func(what string, w waits) {
		r.line("  "+what, func(column string) string {
			if len(r.rounds[w.most][column]) == 0 {
				return ""
			}
			return number(r.median(w.high, column)) + " / " + number(r.most(w.most, column))
		})
	}
	line("Store of a new host", storesAlone)
	line("  during the scan, or the back-stop's pass", storesSweep)
	line("  while the wheel visits very many", storesVisits)
	line("an announce's way past the wheel", announceAlone)
	line("  during the back-stop's pass", announceSweep)
	line("  while the wheel visits very many", announceVisits)
	r.line("  longest call that was left out (see waits.go)", func(column string) string { return number(r.most(disturbed, column)) })
	r.watched("visits per second in the last case", func(column string) string { return fmt.Sprintf("%.0f", r.median(visitRate, column)) })
}

// reportHandler says what an announce costs.
func (r *results) reportHandler(hosts int) {
	r.title("%d hosts: AnnounceHost of a known host, processor time in ns", hosts)
	ratio := func(f figure) {
		r.watched("  of Dragonfly's", func(column string) string { return number(r.median(f, column) / r.median(f, alone)) })
	}
	if canSilence() {
		r.figures("log off", silentTime)
		ratio(silentTime)
	}
	r.figures("log on, to /dev/null", loggingTime)
	ratio(loggingTime)
	r.figures("the way past the wheel alone: a handler that does nothing", passTime)
}
