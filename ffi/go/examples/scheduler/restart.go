package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	commonv2 "d7y.io/api/v2/pkg/apis/common/v2"
	schedulerv2 "d7y.io/api/v2/pkg/apis/scheduler/v2"
	"google.golang.org/protobuf/proto"
)

// save writes what restore needs after a restart: the wheel's snapshot, which says who is alive, and beside it the
// metadata, which the wheel does not know. Nobody may announce meanwhile.
func (s *server) save(path string) error {
	var all schedulerv2.ListHostsResponse
	for _, known := range s.hosts {
		all.Hosts = append(all.Hosts, known.metadata)
	}
	text, err := proto.Marshal(&all)
	if err != nil {
		return err
	}
	if err := replaceFile(metadataPath(path), text); err != nil {
		return err
	}
	return s.wheel.Snapshot(path)
}

// restore takes over the hosts of a snapshot; there need be none. It is called before the wheel runs and before anybody
// announces. A host whose metadata was not saved is listed with its id alone until it announces.
func (s *server) restore(path string) (int, error) {
	metadata, err := readMetadata(metadataPath(path))
	if err != nil {
		return 0, err
	}
	of := func(id string) *commonv2.Host {
		if host := metadata[id]; host != nil {
			return host
		}
		return &commonv2.Host{Id: id}
	}
	err = s.wheel.Restore(path, func(id string) string { return address(of(id)) })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	for member := range s.wheel.All() {
		s.hosts[member.ID()] = &entry{handle: member.Handle(), metadata: of(member.ID())}
	}
	return len(s.hosts), nil
}

func metadataPath(snapshot string) string { return snapshot + ".hosts" }

// readMetadata reads hosts by their ids; none if there is no file.
func readMetadata(path string) (map[string]*commonv2.Host, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all schedulerv2.ListHostsResponse
	if err := proto.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	hosts := make(map[string]*commonv2.Host, len(all.GetHosts()))
	for _, host := range all.GetHosts() {
		hosts[host.GetId()] = host
	}
	return hosts, nil
}

// replaceFile writes a file whole or not at all.
func replaceFile(path string, text []byte) error {
	unfinished := path + ".new"
	if err := os.WriteFile(unfinished, text, 0o600); err != nil {
		return err
	}
	return os.Rename(unfinished, path)
}
