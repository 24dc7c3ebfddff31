// Command scheduler is an example of a scheduler that learns from hostwheel which of its hosts have gone. It speaks the
// host part of Dragonfly's scheduler API: AnnounceHost, ListHosts and DeleteHost.
//
//	scheduler serve   the scheduler
//	scheduler host    a host that announces itself to it
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: scheduler serve [flags]   run the scheduler
       scheduler host [flags]    run a host that announces itself to it
-help after either lists its flags
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	os.Exit(run(ctx, os.Args[1:]))
}

// run is main with its exit status.
func run(ctx context.Context, args []string) int {
	commands := map[string]func(context.Context, []string) error{"serve": serveCommand, "host": hostCommand}
	if len(args) == 0 || commands[args[0]] == nil {
		fmt.Fprint(os.Stderr, usage)
		return 2
	}
	switch err := commands[args[0]](ctx, args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	case err != nil:
		slog.Error(args[0]+" failed", "error", err)
		return 1
	}
	return 0
}

// errUsage: the flags are wrong, which was said already.
var errUsage = errors.New("wrong usage")

// parse reads flags, and refuses what is left over.
func parse(flags *flag.FlagSet, args []string) error {
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return errUsage
	case flags.NArg() > 0:
		fmt.Fprintf(flags.Output(), "unexpected argument: %s\n", flags.Arg(0))
		return errUsage
	}
	return nil
}
