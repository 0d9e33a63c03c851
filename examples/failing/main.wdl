version 1.0

workflow depth_check {
  input {
    Array[Int] depths
    Int least = 20
  }

  scatter (depth in depths) {
    call check { input: depth = depth, least = least }
  }

  output {
    Array[String] verdicts = check.verdict
  }
}

task check {
  input {
    Int depth
    Int least
  }

  command <<<
    echo "Checking a depth of ~{depth}" >&2
    if [ ~{depth} -lt ~{least} ]; then
      echo "ERROR: depth ~{depth} is below the ~{least} that calling needs" >&2
      exit 3
    fi
    echo "~{depth} is deep enough"
  >>>

  output {
    String verdict = read_string(stdout())
  }

  runtime {
    docker: "ubuntu:22.04"
    cpu: 1
    memory: "256 MB"
  }
}
