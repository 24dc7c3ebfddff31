package hostwheelprom_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
	"github.com/hostwheel/hostwheel/ffi/go/hostwheelprom"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func Example() {
	wheel, err := hostwheel.New(hostwheel.Config[string]{})
	if err != nil {
		log.Fatal(err)
	}
	defer wheel.Close()
	for _, id := range []string{"10.0.0.7", "10.0.0.8", "10.0.0.9"} {
		if _, _, err := wheel.Announce(id, 30*time.Second, "metadata"); err != nil {
			log.Fatal(err)
		}
	}
	if err := wheel.Leave("10.0.0.9"); err != nil {
		log.Fatal(err)
	}

	registry := prometheus.NewRegistry()
	registry.MustRegister(hostwheelprom.NewCollector(wheel))
	server := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	defer server.Close()

	response, err := http.Get(server.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "hostwheel_hosts{") || strings.HasPrefix(line, "hostwheel_leaves_total{") {
			fmt.Print(line)
		}
	}
	// Output:
	// hostwheel_hosts{state="live"} 2
	// hostwheel_hosts{state="suspect"} 0
	// hostwheel_leaves_total{reason="backstop"} 0
	// hostwheel_leaves_total{reason="goodbye"} 1
	// hostwheel_leaves_total{reason="host_ttl"} 0
	// hostwheel_leaves_total{reason="ttl"} 0
}
