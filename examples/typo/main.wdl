version 1.0

workflow count_bases {
  input {
    File reference
    Int window = 100
  }

  call count { input: reference = reference, window = window }

  output {
    Int bases = count.bases
  }
}

task count {
  input {
    File reference
    Int window
  }

  command <<<
    grep -v '^>' "~{reference}" | head -n ~{window} | tr -d '\n' | wc -c
  >>>

  output {
    Int bases = read_int(stdout())
  }

  runtime {
    docker: "ubuntu:22.04"
    cpu: 1
    memory: "256 MB"
  }
}
