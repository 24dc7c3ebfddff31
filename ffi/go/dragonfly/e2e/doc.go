// Package e2e tests the adapter from outside: Dragonfly's scheduler and its hosts are processes of their own that speak
// gRPC, and ListHosts is the truth. It has tests only.
package e2e
