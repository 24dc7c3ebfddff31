package hostwheel

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math"
	"time"
)

// The bytes of a snapshot file, as docs/snapshot.md of the repository specifies them: header, frames of records, trailer,
// each with its checksum. One frame is in memory at a time, in both directions.
const (
	formatVersion = 2
	formatMagic   = "\x89HWS\r\n\x1a\n"
	headerLen     = 64
	longestHeader = 4096
	recordLen     = 32 // less the id
	recordLen1    = 24 // in version 1
	frameLen      = 64 << 10
	trailerLen    = 28
	suspectFlag   = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(parts ...[]byte) uint32 {
	sum := uint32(0)
	for _, part := range parts {
		sum = crc32.Update(sum, castagnoli, part)
	}
	return sum
}

// fileHeader tells when the file was written.
type fileHeader struct {
	wallNS, bootNS uint64
	bootID         [16]byte
}

// age is how long before now the file was begun; false if that is not known. The boot clock is not set by anybody.
func (h fileHeader) age(now fileHeader) (time.Duration, bool) {
	from, to := h.wallNS, now.wallNS
	if h.bootID == now.bootID && h.bootID != [16]byte{} && h.bootNS <= now.bootNS {
		from, to = h.bootNS, now.bootNS
	}
	if from > to || to-from > math.MaxInt64 {
		return 0, false
	}
	return time.Duration(to - from), true
}

// fileRecord is one host.
type fileRecord struct {
	id         string
	intervalMS uint32
	ageMS      uint64
	userData   uint64
	suspect    bool
	// earlier is empty in version 1.
	earlier earlier
}

// snapshotWriter writes a snapshot: header, records, finish.
type snapshotWriter struct {
	output        *bufio.Writer
	payload       []byte
	chain         uint32
	hosts, frames uint64
}

func newSnapshotWriter(output io.Writer, h fileHeader) (*snapshotWriter, error) {
	b := make([]byte, headerLen)
	copy(b, formatMagic)
	binary.LittleEndian.PutUint32(b[8:], formatVersion)
	binary.LittleEndian.PutUint32(b[12:], headerLen)
	binary.LittleEndian.PutUint64(b[16:], h.wallNS)
	binary.LittleEndian.PutUint64(b[24:], h.bootNS)
	copy(b[32:], h.bootID[:])
	sum := b[headerLen-4:]
	binary.LittleEndian.PutUint32(sum, checksum(b[:headerLen-4]))
	w := &snapshotWriter{
		output:  bufio.NewWriterSize(output, 256<<10),
		payload: make([]byte, 0, frameLen),
		chain:   checksum(sum),
	}
	_, err := w.output.Write(b)
	return w, err
}

func (w *snapshotWriter) write(r fileRecord) error {
	if len(w.payload)+recordLen+len(r.id) > frameLen {
		if err := w.endFrame(); err != nil {
			return err
		}
	}
	flags := uint16(0)
	if r.suspect {
		flags = suspectFlag
	}
	length := uint16(len(r.id))
	if canaryNarrowLength {
		length &= 0xff
	}
	p := binary.LittleEndian.AppendUint16(w.payload, length)
	p = binary.LittleEndian.AppendUint16(p, flags)
	p = binary.LittleEndian.AppendUint32(p, r.intervalMS)
	p = binary.LittleEndian.AppendUint64(p, r.ageMS)
	p = binary.LittleEndian.AppendUint64(p, r.userData)
	p = binary.LittleEndian.AppendUint32(p, uint32(min(r.earlier.olderMS, math.MaxUint32)))
	p = append(p, r.earlier.misses, 0, 0, 0)
	w.payload = append(p, r.id...)
	w.hosts++
	return nil
}

func (w *snapshotWriter) endFrame() error {
	length := binary.LittleEndian.AppendUint32(nil, uint32(len(w.payload)))
	sum := binary.LittleEndian.AppendUint32(nil, checksum(length, w.payload))
	for _, part := range [][]byte{length, w.payload, sum} {
		if _, err := w.output.Write(part); err != nil {
			return err
		}
	}
	w.chain = crc32.Update(w.chain, castagnoli, sum)
	w.frames++
	w.payload = w.payload[:0]
	return nil
}

// finish writes what is left and the trailer, without which the file is torn.
func (w *snapshotWriter) finish() error {
	if len(w.payload) > 0 {
		if err := w.endFrame(); err != nil {
			return err
		}
	}
	b := make([]byte, 4, trailerLen)
	b = binary.LittleEndian.AppendUint64(b, w.hosts)
	b = binary.LittleEndian.AppendUint64(b, w.frames)
	b = binary.LittleEndian.AppendUint32(b, w.chain)
	b = binary.LittleEndian.AppendUint32(b, checksum(b))
	if _, err := w.output.Write(b); err != nil {
		return err
	}
	return w.output.Flush()
}

// fingerprint tells two whole files apart, but for one chance in four billion.
type fingerprint struct {
	chain         uint32
	hosts, frames uint64
}

// snapshotReader reads a snapshot and believes nothing: what it hands out has passed its checksum and is well-formed.
type snapshotReader struct {
	input   *bufio.Reader
	header  fileHeader
	version uint32
	// offset of the next byte to read, in the file.
	offset  int64
	payload []byte
	seen    fingerprint
}

func damagedAt(offset int64) error { return &SnapshotError{Fault: Damaged, Offset: offset} }

func newSnapshotReader(input io.Reader) (*snapshotReader, error) {
	r := &snapshotReader{input: bufio.NewReaderSize(input, 256<<10)}
	b := make([]byte, 16, headerLen)
	for i := range formatMagic {
		// A file that ends within the magic is torn, if it began like one of ours.
		if err := r.read(b[i : i+1]); err != nil {
			return nil, err
		}
		if b[i] != formatMagic[i] {
			return nil, &SnapshotError{Fault: NotASnapshot}
		}
	}
	if err := r.read(b[8:]); err != nil {
		return nil, err
	}
	// These 16 bytes, and the checksum at the header's end, mean the same in all versions. So damage is told from a version
	// to come.
	version, length := binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:])
	if length < headerLen || length > longestHeader {
		return nil, damagedAt(12)
	}
	b = append(b, make([]byte, length-16)...)
	if err := r.read(b[16:]); err != nil {
		return nil, err
	}
	sum := b[length-4:]
	switch {
	case binary.LittleEndian.Uint32(sum) != checksum(b[:length-4]), version == 0:
		return nil, damagedAt(8)
	case version > formatVersion:
		return nil, &SnapshotError{Fault: NewerVersion, Version: version}
	}
	r.version = version
	r.header = fileHeader{
		wallNS: binary.LittleEndian.Uint64(b[16:]),
		bootNS: binary.LittleEndian.Uint64(b[24:]),
		bootID: [16]byte(b[32:48]),
	}
	r.seen.chain = checksum(sum)
	return r, nil
}

// next is the records of the next frame; none at the end of a file that is whole.
func (r *snapshotReader) next() ([]fileRecord, error) {
	start := r.offset
	var length, sum [4]byte
	if err := r.read(length[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(length[:])
	if n == 0 {
		return nil, r.end(start)
	}
	if n > frameLen {
		return nil, damagedAt(start)
	}
	r.payload = append(r.payload[:0], make([]byte, n)...)
	if err := r.read(r.payload); err != nil {
		return nil, err
	}
	if err := r.read(sum[:]); err != nil {
		return nil, err
	}
	if binary.LittleEndian.Uint32(sum[:]) != checksum(length[:], r.payload) {
		return nil, damagedAt(start)
	}
	var records []fileRecord
	for rest := r.payload; len(rest) > 0; {
		record, after, ok := decodeRecord(rest, r.version)
		if !ok {
			return nil, damagedAt(start)
		}
		records = append(records, record)
		rest = after
	}
	r.seen.chain = crc32.Update(r.seen.chain, castagnoli, sum[:])
	r.seen.frames++
	r.seen.hosts += uint64(len(records))
	return records, nil
}

// decodeRecord takes the first record off a payload; false if it is not a whole, valid one. Flags that this version does
// not know are passed over.
func decodeRecord(b []byte, version uint32) (fileRecord, []byte, bool) {
	fixed := recordLen
	if version == 1 {
		fixed = recordLen1
	}
	if len(b) < fixed {
		return fileRecord{}, nil, false
	}
	n := int(binary.LittleEndian.Uint16(b))
	if n < 1 || n > LongestID || len(b) < fixed+n {
		return fileRecord{}, nil, false
	}
	record := fileRecord{
		id:         string(b[fixed : fixed+n]),
		intervalMS: binary.LittleEndian.Uint32(b[4:]),
		ageMS:      binary.LittleEndian.Uint64(b[8:]),
		userData:   binary.LittleEndian.Uint64(b[16:]),
		suspect:    binary.LittleEndian.Uint16(b[2:])&suspectFlag != 0,
	}
	if version > 1 {
		record.earlier = earlier{misses: b[28], olderMS: uint64(binary.LittleEndian.Uint32(b[24:]))}
	}
	return record, b[fixed+n:], true
}

// end reads the rest of the trailer that begins at start, and nothing after it.
func (r *snapshotReader) end(start int64) error {
	b := make([]byte, trailerLen)
	if err := r.read(b[4:]); err != nil {
		return err
	}
	found := fingerprint{
		hosts:  binary.LittleEndian.Uint64(b[4:]),
		frames: binary.LittleEndian.Uint64(b[12:]),
		chain:  binary.LittleEndian.Uint32(b[20:]),
	}
	if binary.LittleEndian.Uint32(b[24:]) != checksum(b[:24]) || found != r.seen {
		return damagedAt(start)
	}
	switch _, err := r.input.ReadByte(); err {
	case io.EOF:
		return nil
	case nil:
		return damagedAt(r.offset)
	default:
		return err
	}
}

// read fills b. A file that ends before is torn.
func (r *snapshotReader) read(b []byte) error {
	n, err := io.ReadFull(r.input, b)
	r.offset += int64(n)
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return &SnapshotError{Fault: Torn}
	}
	return err
}
