version 1.0

workflow hello {
  input {
    String name = "world"
  }

  call greet { input: name = name }

  output {
    String greeting = greet.greeting
  }
}

task greet {
  input {
    String name
  }

  command <<<
    echo "Hello, ~{name}, from $(uname -s)."
  >>>

  output {
    String greeting = read_string(stdout())
  }

  runtime {
    docker: "ubuntu:22.04"
    cpu: 1
    memory: "256 MB"
  }
}
