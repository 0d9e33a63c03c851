version 1.0

workflow fastq_stats {
  input {
    File reads
    Int reads_per_chunk = 25
  }

  call split { input: reads = reads, reads_per_chunk = reads_per_chunk }

  scatter (chunk in split.chunks) {
    call measure { input: chunk = chunk }
  }

  call gather { input: tables = measure.stats }

  output {
    File table = gather.table
    Int read_count = gather.read_count
    Float gc_percent = gather.gc_percent
  }
}

task split {
  input {
    File reads
    Int reads_per_chunk
  }

  # A read is four lines of a FASTQ file.
  command <<<
    split -l $(( 4 * ~{reads_per_chunk} )) -d -a 3 --additional-suffix=.fastq "~{reads}" chunk_
  >>>

  output {
    Array[File] chunks = glob("chunk_*.fastq")
  }

  runtime {
    docker: "ubuntu:22.04"
    cpu: 1
    memory: "256 MB"
  }
}

task measure {
  input {
    File chunk
  }

  command <<<
    python3 - "~{chunk}" > stats.tsv <<'PYTHON'
    import sys

    reads = bases = gc = quality = 0
    with open(sys.argv[1]) as lines:
        for number, line in enumerate(lines):
            text = line.rstrip("\n")
            if number % 4 == 1:
                reads += 1
                bases += len(text)
                gc += sum(base in "GC" for base in text)
            elif number % 4 == 3:
                quality += sum(ord(letter) - 33 for letter in text)
    print(reads, bases, gc, quality, sep="\t")
    PYTHON
  >>>

  output {
    File stats = "stats.tsv"
  }

  runtime {
    docker: "python:3.11-slim"
    cpu: 1
    memory: "256 MB"
  }
}

task gather {
  input {
    Array[File] tables
  }

  command <<<
    cat ~{sep=" " tables} | awk -F '\t' '
      BEGIN { print "chunk\treads\tbases\tgc_percent\tmean_quality" }
      {
        printf "%d\t%d\t%d\t%.2f\t%.2f\n", NR, $1, $2, 100 * $3 / $2, $4 / $2
        reads += $1; bases += $2; gc += $3; quality += $4
      }
      END {
        printf "all\t%d\t%d\t%.2f\t%.2f\n", reads, bases, 100 * gc / bases, quality / bases
        print reads > "reads.txt"
        printf "%.2f\n", 100 * gc / bases > "gc.txt"
      }' > table.tsv
  >>>

  output {
    File table = "table.tsv"
    Int read_count = read_int("reads.txt")
    Float gc_percent = read_float("gc.txt")
  }

  runtime {
    docker: "ubuntu:22.04"
    cpu: 1
    memory: "256 MB"
  }
}
