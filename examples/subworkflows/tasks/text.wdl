version 1.1

task join {
  input {
    Array[String] lines
  }

  command <<<
    sort "~{write_lines(lines)}" > report.txt
  >>>

  output {
    File joined = "report.txt"
  }

  runtime {
    container: "ubuntu:22.04"
    cpu: 1
    memory: "256 MB"
  }
}
