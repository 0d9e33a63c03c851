version 1.1

task make {
  input {
    String name
    Int length
  }

  # The same name gives the same sequence.
  command <<<
    python3 - > sequence.fasta <<'PYTHON'
    import random

    bases = random.Random("~{name}").choices("ACGT", k=~{length})
    print(">~{name}")
    print("".join(bases))
    PYTHON
  >>>

  output {
    File fasta = "sequence.fasta"
  }

  runtime {
    container: "python:3.11-slim"
    cpu: 1
    memory: "256 MB"
  }
}

task count {
  input {
    File fasta
  }

  command <<<
    grep -v '^>' "~{fasta}" | tr -cd GC | wc -c
  >>>

  output {
    Int gc = read_int(stdout())
  }

  runtime {
    container: "ubuntu:22.04"
    cpu: 1
    memory: "256 MB"
  }
}
